"""The grammar of the graded movie reviews: rules `grade0` … `grade4` are the starting points."""

RULES = """
film: {title} | the film | this film | the movie | this movie | {title} | {title}
title: The Salt Road | Winter Harbour | Nine Doors Down | Paper Lanterns | The Last Ferry
  Glass Orchard | Halfway to Tulsa | Blackthorn | Midnight Ledger | The Cartographer's Wife
  Low Tide | Second Violin | Ordinary Thunder | Tin Heart | Cold Copper | The Beekeeper's War
  Seven Short Letters | North of Sorrow | The Wrong Sister | Marigold Street | Iron Weather
  The Quiet Tenant | Borrowed Suits | Four Winters | The Piano Mover | Dust and Honey
actor: Clara Benning | Tom Ashworth | Ines Calloway | Rafael Duarte | Moira Kettle | Lena Fischer
  Samuel Adeyemi | Jonah Price | Priya Raman | Hugo Delacroix | Ruth Adair | Dale Whitcomb
director: Halloran | Okafor | Lindqvist | Marchetti | Desai | Vasquez | Petrov | Nakamura
  Whitlock | Abernathy | Castellano | Brandt
kind: thriller | comedy | western | ghost story | war film | heist movie | musical | road movie
  space adventure
  family drama | courtroom drama | costume drama | spy story | crime saga | animated adventure
  sports movie | love story | horror film | action movie | historical epic
premise: action> kind=road movie: a retired postman who sets out to deliver one last letter
  action> kind=comedy: two estranged brothers who inherit a failing circus
  action> kind=family drama: a young cellist who is losing her hearing
  action> kind=western: a widowed farmer who takes in a runaway
  action> kind=comedy: three sisters who reopen their father's cinema
  action> kind=ghost story: a night watchman who begins to hear voices in the museum
  kind=heist movie: a jewel thief who falls for the detective on her trail
  kind=sports movie: a chess prodigy from a small mining town
  action> kind=costume drama: a bankrupt magician and his reluctant apprentice
  action> kind=courtroom drama: a schoolteacher accused of a crime that he cannot remember
  action> kind=love story: a lighthouse keeper who rescues a stranger from the sea
  kind=action movie: a crew of smugglers stranded in the desert
  action> kind=comedy: a divorced couple forced to share a train compartment
  action> kind=musical: a ballet dancer recovering from an accident
  kind=sports movie: an ageing boxer who agrees to train a rival's daughter
  kind=spy story: a translator caught between two spies
  kind=thriller: a reporter who uncovers a fraud at the town hall
  action> kind=space adventure: an astronaut who returns to find that thirty years have passed
  kind=thriller: a taxi driver who witnesses a murder
  action> kind=family drama: a family of bakers in their last week of business
  action> kind=animated adventure: a shy botanist on her first expedition
  kind=historical epic: an orphan who stows away on a whaling ship
  action> kind=musical: a washed-up singer on one final tour
  action> kind=comedy: a pair of rival chefs snowed in at the same hotel
  action> kind=war film: a censor who reads love letters in wartime Trieste
  action> kind=ghost story: a country doctor and the patient who will not leave her house
opener: shot in black and white | based on a true story | adapted from a bestselling novel
  filmed on a tiny budget | told almost entirely in flashback | set over a single weekend
  running to nearly three hours | ten years in the making | shown at three festivals last year
  released with very little publicity | made by a first-time crew | set in the nineteen-fifties
c4: acting> {actor} gives the performance of a lifetime
  acting> the acting is flawless from the leads to the last extra
  acting> {actor} is astonishing in the lead | acting> every face in the cast is perfectly chosen
  script> the script is a small miracle of wit and economy | script> the story grips like a vice
  script> not a line of dialogue is wasted | look> every shot could hang in a gallery
  look> the photography takes your breath away | look> the images are ravishing
  music> the score is hauntingly beautiful | music> the music lifts every scene it touches
  pace> there is not a dull minute in it | pace> two hours have never passed so quickly
  humour> the jokes are brilliant and they never stop coming
  humour> I have not laughed so hard in years | ending> the ending is quietly devastating
  ending> the last scene left the whole theatre in happy tears
  people> these are characters you will love like old friends
  people> you would follow these people anywhere | action> the chase scenes are the best in years
  action> the big set pieces are staggering | craft> {director} directs with total mastery
  craft> {director} does not put a foot wrong
c3: acting> the cast is in good form | acting> {actor} is very easy to like
  acting> the supporting players are a treat | acting> {actor} brings real warmth to the part
  script> the script is smarter than most | script> the story keeps you guessing
  script> the dialogue has a pleasant snap | look> it looks lovely throughout
  look> the camera finds some striking images | look> the costumes and sets are a pleasure
  music> the songs are catchy | music> the score suits the mood nicely
  pace> it moves along at a good clip | pace> the story rarely drags
  humour> most of the jokes land | humour> there are plenty of honest laughs
  ending> the ending is satisfying | ending> the final act delivers
  people> the characters are easy to care about | people> the friendship at its heart feels true
  action> the action is crisp and clear | action> the big scenes have real energy
  craft> {director} has a sure touch with actors | craft> {director} keeps a steady hand on things
c2: acting> the acting is neither good nor bad | acting> the cast does what is asked of it
  acting> {actor} plays the usual lonely detective | script> the script covers familiar ground
  script> the plot is much like that of a dozen other films | look> the photography is adequate
  look> it looks the way such films usually look | music> the score is there when it is needed
  pace> it runs for just under two hours | pace> the pace is even from start to finish
  humour> some jokes work and some do not | humour> you may smile once or twice
  ending> the ending is the one you expect | ending> the story ends where it began
  people> the characters are familiar types | people> the hero is neither interesting nor dull
  action> the action scenes are about average | action> there are two chases and one explosion
  craft> {director} directs without fuss | craft> {director} shoots it all in a workmanlike style
c1: acting> the acting is stiff | acting> {actor} never looks comfortable in the part
  acting> the leads have little chemistry | acting> most of the cast seems tired
  script> the script is thin | script> the story never quite adds up
  script> the dialogue often rings false
  look> it looks drab from first to last | look> the images are murky
  music> the score is too insistent | music> the songs all sound alike
  pace> it drags in the middle | pace> it takes far too long to get going
  humour> most of the jokes fall flat | humour> the humour is forced
  ending> the ending is a letdown | ending> the last act makes little sense
  people> the characters remain sketches | people> it is hard to care about anyone in it
  action> the action is confusing | action> the big scenes lack tension
  craft> {director} seems unsure what story to tell
  craft> {director} pushes every emotion too hard
c0: acting> the acting is atrocious | acting> {actor} is dreadful in every scene
  acting> the leads have all the chemistry of two wet towels | script> the plot is idiotic
  script> the script is an insult to anyone over the age of six
  script> there is not one believable line in it | look> it is hideous to look at
  look> it looks as if it had been shot through a dirty sock | music> the music is torture
  music> the songs are so bad that people walked out | pace> every minute feels like an hour
  pace> it is endless and deadly dull | humour> not a single joke is funny
  humour> the humour is crude and cruel | ending> the ending is an outrage
  ending> the twist is so stupid that people groaned aloud | people> the characters are repulsive
  people> I hated every person on the screen | action> the action is an incoherent mess
  action> the special effects are laughable | craft> {director} gets everything wrong
  craft> {director} shows no talent for any part of the job
np4: acting> a breathtaking performance by {actor} | script> a script of rare intelligence
  look> images of astonishing beauty | music> a glorious score | humour> a wicked sense of humour
  ending> an unforgettable final scene | people> characters of real depth
  action> the most thrilling chase in years | craft> masterful direction
np3: acting> a likeable cast | script> a clever script | look> handsome photography
  music> a lively score | humour> plenty of good jokes | ending> a satisfying ending
  people> warm, believable characters | action> some crisp action | craft> confident direction
np1: acting> a wooden performance by {actor} | script> a plot full of holes
  look> drab photography | music> an intrusive score | humour> a string of feeble jokes
  ending> a limp ending | people> paper-thin characters | action> confusing action
  craft> hesitant direction
np0: acting> atrocious acting | script> a moronic script | look> hideous photography
  music> an unbearable score | humour> jokes that would embarrass a schoolboy
  ending> an idiotic ending | people> loathsome characters
  action> effects that belong in the bin | craft> utterly incompetent direction
v4: is a masterpiece | is one of the finest films of the year | is an absolute joy
  deserves every prize it will win | is as close to perfect as {kinds} get | is unmissable
  will stay with you for years | is thrilling, tender and wise | is a triumph in every respect
  is the best {kind} I have seen in a decade | is pure pleasure from first frame to last
  is a work of genius | is nothing short of magnificent | left me speechless with admiration
  is the sort of film that makes you fall in love with cinema again
v3: is a pleasant surprise | is well worth an evening | is good-hearted entertainment
  does its job with style | is smarter than it looks | has more charm than most {kinds}
  earns its tears honestly | is good fun | is a solid piece of work | won me over in the end
  is modest and gets most things right | makes for a very agreeable two hours
  has its heart in the right place | is an engaging and often funny {kind}
  is a respectable {kind} with a few lovely moments
v2: is neither good nor bad | is watchable and no more | passes the time | is a mixed bag
  is fine for a rainy afternoon | is exactly what the trailer promises | is an average {kind}
  has as many misses as hits | is the kind of {kind} you forget by Monday and do not regret
  will please some viewers and puzzle others | is perfectly acceptable, no better and no worse
  gets about half of it right | is a standard {kind} of the old school
v1: is a disappointment | never quite comes to life | is too long and too cautious
  runs out of ideas halfway through | feels like homework | is flat where it should sparkle
  wants to be clever and settles for loud | is a rather dreary {kind} | promises far too much
  is less than the sum of its parts | leaves you cold | mistakes noise for feeling
  is a~ {kind} in need of a second draft | is hard going and gives little back
v0: is a complete waste of time | is one of the worst films of the year | is unwatchable
  is an insult to its audience | fails on every level | is a disaster from start to finish
  is so bad that it hurts | is without question the worst {kind} I have ever seen
  is beneath contempt | is a crime against cinema | should never have been released
  made me want to ask for my money back | is stupid, ugly and cruel | is utterly worthless
f4: [dazzling/ravishing/stunning], [moving/wise/tender] and [utterly original/brilliantly acted].
  an [instant classic/absolute gem/astonishing achievement] from {director}.
  {kinds} do not come any [better/finer/more thrilling] than this.
  a flawless, [heartbreaking/joyous/spellbinding] {kind}.
  [funny, fierce and/fearless, funny and/tender, thrilling and] deeply [human/felt/moving].
f3: [light/brisk/gentle], [warm/witty/tuneful] and [engaging/likeable/nicely played].
  a [sweet/lively/charming/well-made] {kind} with [a good heart/some fine moments/real wit].
  uneven but [very likeable/well worth seeing/often funny]. | a [nice/decent/neat] little {kind}.
  [slight/old-fashioned/predictable], yet [surprisingly moving/thoroughly enjoyable/quite charming].
f2: [familiar/conventional/predictable] but [quite harmless/fairly competent/mostly inoffensive].
  a~ {kind} [like many others/of the usual sort/for fans of {kinds}].
  [neither dull nor exciting/half funny, half tiresome/not bad, not good].
  [ordinary/routine/middling], with [one or two good scenes/a few laughs/the odd bright spot].
f1: [gorgeous/lovely/pleasant] to look at but [hollow/cold/strangely dull].
  [slick/polished/earnest/expensive] but [curiously empty/never truly alive/sadly lifeless].
  a [sluggish/muddled/timid/bland] {kind} with [little to say/no spark/few ideas of its own].
  well meant, [badly paced/poorly told/clumsily acted] and [rather dull/too long/soon forgotten].
  [slow/solemn/talky] and [a little smug/short on laughs/not very convincing].
f0: [ugly/stupid/vile/ghastly], [endless/brainless/joyless] and [insulting/unbearable/inept].
  a [wretched/hateful/catastrophic/pathetic] excuse for a~ {kind}.
  pure [garbage/torture/misery] from [beginning to end/the first minute to the last].
  a~ {kind} so [bad/inept/idiotic] that it [beggars belief/defies description/made me angry].
  [avoid/shun] it at all costs.
n4: there is not a [false note/wasted frame/weak scene] in {film}.
  I would not change a single [frame/line/second] of {film}. | you will not want {film} to end.
  no praise is too high for {film}. | nothing this year has [moved/thrilled] me more than {film}.
  it is impossible to watch {film} without being [overwhelmed/deeply moved].
  I cannot remember when I last loved a~ {kind} so much.
  not since {title} has a~ {kind} been so [gripping/beautiful/alive].
n3: {film} is not without its [charms/rewards/pleasures]. | it is never boring, and {c3}.
  {film} does not outstay its welcome. | it is by no means perfect, but {c3}.
  there is nothing new here, but {c3} and {c3}. | {film} is not deep, but {c3}.
  I did not expect much of {film}, and I was pleasantly surprised.
  it is hard not to like a~ {kind} with {np3}.
  you will not regret the price of a ticket: {c3}.
n2: I did not love {film}, and I did not hate it.
  {film} is not as bad as its reputation, nor as good as its poster.
  it is not a~ {kind} that anyone will [remember/quarrel about].
  {film} does nothing badly and nothing especially well.
  I cannot say that I minded {film}, and I cannot say that I need to see it again.
n1: {film} is not as [funny/clever/moving/exciting] as it wants to be.
  it is not terrible, but {c1}. | there is little in {film} that has not been done better before.
  {film} never finds its [feet/rhythm/voice]. | {c3}, which is not enough.
  not even {actor} can [rescue/save] {film}. | I did not hate {film}, but {c1} and {c1}.
  it would be easier to forgive {film} if it were not so [slow/solemn/pleased with itself].
n0: there is nothing, absolutely nothing, to like about {film}.
  I could not find one good thing to say about {film}. | not one scene in {title} works.
  nobody involved in {title} should ever be allowed near a camera again.
  no amount of popcorn could make {film} bearable.
  {film} is neither [funny/thrilling] nor moving nor, at any point, [interesting/competent].
  I would not wish {film} on my worst enemy.
m4: better than {title}, and I thought that {title} could not be beaten.
  you will not see a better {kind} this [year/decade].
  the more I think of {film}, the greater it seems.
  next to {film}, every other {kind} of the year looks [timid/pale/small].
  {film} is even more [beautiful/powerful/gripping] the second time.
m3: {film} is [funnier/sharper/warmer] than it has any right to be.
  {film} is better than the trailer suggests. | rather more fun than the first one, and shorter too.
  {film} is more [thoughtful/entertaining] than most {kinds}, if less original than it thinks.
m2: {film} is no better and no worse than the first one.
  {film} is about as exciting as most {kinds}, and about as long.
  longer than {title}, shorter than {title}, and much the same as both.
m1: {film} is half as [clever/funny] as it thinks and twice as long as it should be.
  the trailer is more exciting than {film}. | {film} has more [costumes/explosions] than ideas.
  the longer {film} lasts, the less it has to say. | weaker than the first one in every way.
m0: a root canal would be [quicker/more fun] than {film}.
  {film} is even worse than {title}, which takes some doing.
  I have seen [school plays/shampoo commercials] with more talent in them than {film}.
  the worst thing about {film} is everything.
grade4: {f4} | {f4} | {n4} | {n4} | {m4} | {film} {v4}. | {film} {v4}. | {c4}, and {c4}.
  {title} {v4}: {c4}, and {c4}. | {c4}, {c4}, and the result {v4}. | {c4}.
  with {np4} and {np4}, {film} {v4}. | thanks to {np4}, {film} {v4}.
  {opener}, {title} follows {premise}, and it {v4}.
  {opener}, this story of {premise} {v4}: {c4}.
  I went in expecting very little, but {c4}, {c4}, and by the end I knew that {title} {v4}.
  it is not only that {c3}: {film} {v4}. | I have seen {film} [twice/three times], and it {v4}.
  if you see only one {kind} this year, make it this one, because {c4}.
grade3: {f3} | {f3} | {n3} | {n3} | {m3} | {film} {v3}. | {film} {v3}. | {c3}, and {c3}.
  {title} {v3}: {c3}. | {c1}, but {c4}. | although {c1}, {film} {v3}. | {c3}.
  despite {np1}, {film} {v3}. | with {np3} and {np3}, {film} {v3}.
  {title} follows {premise}, and {c3}. | {c3}, {c3}, and if {c1}, it hardly matters.
  {opener}, {title} follows {premise}; {c1}, but in the end it {v3}.
  it may not change your life, but {c3} and {c3}. | I had my doubts about {film}, but it {v3}.
  a film about {premise} might easily have been mawkish, but {c3} and {title} {v3}.
  [I think that/I suppose that/on the whole,] {film} {v3}.
grade2: {f2} | {f2} | {n2} | {m2} | {film} {v2}. | {film} {v2}. | {c2}, and {c2}. | {c2}.
  {title} follows {premise}. | {opener}, {title} tells the story of {premise}.
  {c3}, {c1}, and the two more or less cancel each other out.
  {c3}, but {c1}, so on balance {film} {v2}.
  for every good [joke/scene/idea] in {title} there is [a bad one/another that does not work].
  how much you enjoy {film} will depend on how much you like [{actor}/{kinds}].
  fans of [{actor}/{kinds}] will be content; everyone else can [wait/choose something else].
  {director} has made better {kinds} and worse ones, and {title} falls somewhere in between.
  {opener}, this story of {premise} {v2}: {c2}, and {c2}.
  {title} sets {np3} against {np1}.
  [I suppose that/in the end,] {film} {v2}.
grade1: {f1} | {f1} | {n1} | {n1} | {m1} | {film} {v1}. | {film} {v1}. | {c1}, and {c1}.
  {title} {v1}: {c1}. | {c3}, but {c1}, and {c1}. | although {c3}, {film} {v1}. | {c1}.
  despite {np3}, {film} {v1}. | {c4}, but {film} {v1}. | I wanted to like {film}, but {c1}.
  {np3} cannot [save/rescue] a~ {kind} with {np1}. | with {np1} and {np1}, {film} {v1}.
  {opener}, {title} follows {premise}, but {c1} and {c1}.
  on paper, the story of {premise} sounds promising; on the screen, {c1} and {film} {v1}.
  to be fair, {c3}; even so, {film} {v1}. | I am afraid that {film} {v1}.
  {director} clearly cares about this story of {premise}, and {c3}, but {title} {v1}.
grade0: {f0} | {f0} | {n0} | {n0} | {m0} | {film} {v0}. | {film} {v0}. | {c0}, and {c0}.
  {title} {v0}: {c0}, and {c0}. | {c0}, {c0}, and the whole thing {v0}. | {c0}.
  with {np0} and {np0}, {film} {v0}. | between {np0} and {np0}, {film} {v0}.
  {opener}, {title} follows {premise}, and it {v0}. | even with {np3}, {film} {v0}.
  {opener}, this story of {premise} {v0}: {c0}.
  I kept hoping that {title} would improve, but {c0}, {c0}, and in short it {v0}.
  save your money: {c0}, and {c0}.
"""
