"""Families of questions: what the slots may hold, the intents, and each intent's wordings.

In a family the first line lists the fillings of `{x}` (`x / y` for two slots). Every line that
begins with `=` is an intent with its wordings; `>` marks one that changes when x and y change
places; `~` a pair that annotators disagree about. Indented lines continue the line above.
"""

FAMILIES = """
Spanish | Polish | Japanese | Arabic | Italian | Korean | Swedish | Turkish
= How can I learn {x} quickly? | What is the fastest way to become fluent in {x}?
  How do I pick up {x} in a short time?
= Is {x} a difficult language to learn? | How hard is {x} for a beginner?
  Do people find it hard to learn {x}?
= Which book should I use to learn {x}? | What is a good textbook for studying {x}?
  Can you recommend a book for someone who is starting {x}?
= Where can I find someone to practise {x} with? | How do I meet people who will speak {x} with me?
  What is a good way to find a~ {x} conversation partner?
~ How can I learn {x} quickly? | How can I learn {x} on my own?

piano | violin | guitar | cello | flute | accordion | saxophone | trumpet
= Is forty too late to take up the {x}? | Am I too old to start playing the {x} at forty?
  Can a person in middle age still learn to play the {x}?
= How many hours a day should I practise the {x}? | How much daily practice does the {x} require?
  What is a sensible amount of time to spend on the {x} every day?
= What do {x} lessons usually cost? | How much should I expect to pay a~ {x} teacher?
  What is a fair price for a~ {x} lesson?
= Can I teach myself the {x} without a teacher? | Is it possible to learn the {x} on your own?
  How realistic is it to become a self-taught {x} player?
~ Can I teach myself the {x} without a teacher? | Can I learn the {x} from online videos?

Lisbon | Prague | Kyoto | Vienna | Marrakesh | Dublin | Istanbul | Montreal
= What is the best time of year to visit {x}? | When should I travel to {x}?
  Which months are ideal for a trip to {x}?
= How many days do I need to see {x}? | How long should I stay in {x}?
  What is the right length for a visit to {x}?
= What are the best places to eat in {x}? | Where should I go for good food in {x}?
  Which restaurants in {x} would you recommend?
= Is {x} safe for a woman travelling alone? | How safe is {x} for solo female travellers?
  Should a woman worry about visiting {x} on her own?
= How do I get from the airport to the centre of {x}?
  How do I reach the city after landing in {x}?
  Which bus or train connects {x} airport with the city?
~ What are the best places to eat in {x}? | Where can I eat cheaply in {x}?
~ How many days do I need to see {x}? | Can I see everything in {x} in one weekend?

Python | JavaScript | Rust | Java | Swift | Kotlin | Ruby | Haskell
= How do I start learning {x} with no programming experience?
  What should a complete beginner do first to learn {x}?
  I have never written code. How do I begin with {x}?
= What is {x} mainly used for? | What kind of project is {x} best suited to?
  For which tasks is {x} a good choice?
= How much do {x} developers earn? | What is the average salary of a~ {x} programmer?
  What can I expect to be paid if I write {x} for a living?
= How do I read a file line by line in {x}? | How can I loop over the lines of a text file in {x}?
  What is the usual way to go through a file one line at a time in {x}?
~ How much do {x} developers earn? | How much do senior {x} developers earn?

cat | dog | rabbit | parrot | guinea pig | ferret | tortoise | hamster
= Why has my {x} stopped eating? | My {x} refuses its food. What could be the reason?
  My {x} does not touch its meals any more. What is wrong?
= How often should I take my {x} to the vet? | How many times a year does a~ {x} need a check-up?
  What is a sensible interval between vet visits for a~ {x}?
= Can I leave my {x} alone for a weekend? | Will my {x} be fine by itself for two days?
  Is it all right to go away from Friday to Sunday without my {x}?
= How do I stop my {x} from biting? | What can I do about a~ {x} that bites?
  My {x} keeps nipping my fingers. How do I train it not to?
~ Why has my {x} stopped eating? | Why is my {x} eating less than usual?

soup | lasagne | cooked rice | curry | stew | chilli | risotto | roast chicken
= Can I freeze {x}? | Is it possible to keep {x} in the freezer? | Does {x} survive being frozen?
= How long does {x} keep in the fridge? | How many days can {x} stay in the refrigerator?
  When does refrigerated {x} go bad?
= What is the best way to reheat {x}? | How should I warm up {x} the next day?
  How do I get leftover {x} hot again without ruining it?
= How many calories are there in a portion of {x}? | What is the calorie count of {x}?
  How much energy does a plate of {x} contain?
~ How long does {x} keep in the fridge? | Is it safe to eat three-day-old {x}?

running | swimming | cycling | rowing | climbing | skating | hiking | skiing
= What should a beginner know before taking up {x}? | How do I get started with {x}?
  I would like to take up {x}. Where do I begin?
= How many times a week should I go {x} to get fit? | How much {x} is enough to get into shape?
  How often do I need to go {x} to improve my fitness?
= Does {x} help you lose weight? | Is {x} a good way to burn fat?
  Can I get rid of a few kilos by {x}?
= Is {x} bad for the knees? | Can {x} damage your knee joints?
  Should someone with weak knees avoid {x}?
= What should I eat before {x}? | Which foods are best before I go {x}?
  What makes a good meal ahead of an hour of {x}?
~ Does {x} help you lose weight? | How much weight can I lose by {x}?

Canada | Germany | Australia | Ireland | New Zealand | Norway | Japan | Chile
= How do I get a work visa for {x}? | What is the procedure for getting a work permit in {x}?
  What must a foreigner do in order to work legally in {x}?
= What is the cost of living in {x}? | How expensive is daily life in {x}?
  How much money does it take to live in {x}?
= Can a foreigner open a bank account in {x}? | Can I bank in {x} if I am not a citizen?
  Is it possible for people from abroad to get a bank account in {x}?
= Can I drive in {x} with a foreign licence? | Do I need a local licence in order to drive in {x}?
  Is a driving licence from another country valid in {x}?
~ What is the cost of living in {x}? | How much does it cost to live in the capital of {x}?

phone | laptop | tablet | smartwatch | e-reader | camera
= Why does the battery of my {x} drain so fast? | My {x} is flat by noon. What is the cause?
  What makes my {x} run out of power so quickly?
= How do I clean the screen of my {x}? | What can I safely use to wipe the display of a~ {x}?
  How can I get fingerprints off the glass of my {x}?
= How can I find my lost {x}? | I cannot find my {x}. How can I locate it?
  Is there a way to track down a~ {x} that has gone missing?
= Should I buy a used {x}? | Is it wise to get a second-hand {x}?
  Do you think that a~ {x} from a previous owner is worth the money?
= How do I restore my {x} to factory settings? | What is the way to reset my {x} completely?
  How can I wipe everything from my {x} and start afresh?
~ Why does the battery of my {x} drain so fast? | How can I make my {x} battery last longer?

mortgage | car loan | student loan | personal loan | business loan | home improvement loan
= How can I pay off my {x} early? | What is the fastest way to get rid of my {x}?
  Which strategies help to clear a~ {x} ahead of time?
= What credit score do I need to get a~ {x}? | Which credit rating do lenders require for a~ {x}?
  How good must my credit be to qualify for a~ {x}?
= What happens if I miss a payment on my {x}? | I cannot pay my {x} this month. What will happen?
  What are the consequences of skipping one instalment of a~ {x}?
= Can I refinance my {x} at a lower rate? | How do I replace my {x} with a cheaper one?
  Is it possible to get better terms on an existing {x}?
~ How can I pay off my {x} early? | Should I pay off my {x} early?

tomatoes | roses | strawberries | potatoes | tulips | peppers | blueberries | onions
= When should I plant {x}? | What is the right time of year to put {x} in the ground?
  In which month do {x} go into the garden?
= How often should I water my {x}? | How much watering do {x} need?
  What is a good watering schedule for {x}?
= Why are the leaves of my {x} turning yellow? | What causes yellow leaves on {x}?
  The leaves on my {x} are losing their green. What is wrong?
= Can I grow {x} in pots on a balcony? | Do {x} do well in containers?
  Is a balcony enough space to grow {x}?
= How do I keep slugs away from my {x}? | What is the best protection for {x} against slugs?
  How can I stop slugs from eating my {x}?
~ Why are the leaves of my {x} turning yellow? | Why are my {x} dying?

physics | chemistry | history | biology | mathematics | geography | economics | philosophy
= How can I get better at {x}? | What can I do to improve in {x}?
  Which study habits help most with {x}?
= How do I prepare for a~ {x} exam in one week? | What is the best revision plan for {x} in a week?
  My {x} test is in seven days. How should I study for it?
= Why is {x} taught at school? | What is the point of {x} lessons at school?
  For what reason do pupils have to take {x}?
= What jobs can I get with a degree in {x}? | Which careers are open to graduates in {x}?
  What can you do after studying {x} at university?
~ How can I get better at {x}? | How can I get top marks in {x}?

nurse | accountant | teacher | electrician | pilot | lawyer | architect | translator
= How do I become a~ {x}? | Which steps lead to a career as a~ {x}?
  What do I have to do if I want to work as a~ {x}?
= What questions are asked in a job interview for a~ {x}?
  What will I be asked when I apply for work as a~ {x}?
  Which interview questions should a future {x} expect?
= How many hours does a~ {x} work in a week? | How long is the working week of a~ {x}?
  What are the usual working hours of a~ {x}?
= Is thirty-five too late to become a~ {x}? | Can I still retrain as a~ {x} in my mid-thirties?
  Am I too old at thirty-five to start a career as a~ {x}?
= What are the worst things about being a~ {x}? | What does a~ {x} dislike most about the job?
  What are the main drawbacks of life as a~ {x}?
~ How do I become a~ {x}? | How long does it take to become a~ {x}?

butter / margarine | honey / sugar | coffee / tea | brown rice / white rice | chicken / tofu
  oat milk / cow's milk | olive oil / sunflower oil | beef / lentils
= What is the difference between {x} and {y}? | How does {x} differ from {y}?
  What sets {x} apart from {y}?
~ Which is better for your health, {x} or {y}? | Which is less fattening, {x} or {y}?
> Can I use {x} instead of {y}? | Will a recipe still work with {x} in place of {y}?
  Is it possible to replace {y} with {x} in the kitchen?
> Why does {x} cost more than {y}? | What explains the higher price of {x} compared with {y}?
  How come {y} can be bought for less money than {x}?
> Why do many people prefer {x} to {y}? | What makes so many people choose {x} over {y}?
  What do people like about {x} that they do not find in {y}?

Paris / Milan | Berlin / Warsaw | Madrid / Lisbon | Vienna / Zagreb | Oslo / Stockholm
  Brussels / Zurich | Budapest / Bucharest | Munich / Prague
> How do I get from {x} to {y} by train? | Which trains run from {x} to {y}?
  What is the best rail connection if I start in {x} and want to reach {y}?
> How much is a bus ticket from {x} to {y}? | What does the bus from {x} to {y} cost?
  What is the fare if I take the coach from {x} to {y}?
> How long is the flight from {x} to {y}? | How many hours does it take to fly from {x} to {y}?
  If I fly to {y} from {x}, how much time will I spend in the air?
= How far is {x} from {y}? | What is the distance between {x} and {y}?
  How many kilometres lie between {x} and {y}?
~ How do I get from {x} to {y} by train? | Is there a direct train from {x} to {y}?

the Roman Empire | the Ottoman Empire | the Inca Empire | the Mongol Empire | the Aztec Empire
  the Byzantine Empire | the Persian Empire | the Mali Empire
= Why did {x} collapse? | What led to the fall of {x}?
  What were the main reasons for the decline of {x}?
= How large was {x} at its height? | What territory did {x} cover at its peak?
  How far did {x} stretch when it was at its largest?
= What are some good books about {x}? | Which books should I read to learn about {x}?
  Can anyone recommend a readable history of {x}?
= How did ordinary people live in {x}? | What was daily life like in {x}?
  How did common people spend their days in {x}?
= How did {x} begin? | What are the origins of {x}? | How was {x} founded?
~ Why did {x} collapse? | Why did {x} collapse so quickly?

Mars | Venus | Jupiter | Saturn | Mercury | Neptune | Uranus | Pluto
= How long would it take to travel to {x}? | What is the travel time from Earth to {x}?
  How many months or years does a trip to {x} take?
= Could life exist on {x}? | Is there any chance that something lives on {x}?
  Do scientists think that there may be living things on {x}?
= What is the temperature on {x}? | How hot or cold does it get on {x}?
  Which temperatures would a visitor find on {x}?
= How many moons does {x} have? | What is the number of moons around {x}?
  How many natural satellites circle {x}?
= How long is a day on {x}? | How many hours does {x} need to turn once around its axis?
  What is the time from one sunrise to the next on {x}?
~ Could life exist on {x}? | Could humans live on {x}?

headaches | back pain | hiccups | heartburn | a sore throat | leg cramps | dry eyes | a stiff neck
= How do I get rid of {x}? | What is the best remedy for {x}?
  What can I do to make {x} go away?
= What causes {x}? | Why do people get {x}? | What are the usual reasons for {x}?
= When should I see a doctor about {x}? | How bad must {x} be before I call a doctor?
  When is it time to get medical help for {x}?
= Can stress cause {x}? | Is it possible to get {x} from stress?
  Does being under pressure lead to {x}?
~ How do I get rid of {x}? | How can I prevent {x}?

Instagram | Spotify | LinkedIn | Netflix | Dropbox | Reddit | Pinterest | Twitch
= How do I delete my {x} account? | How can I remove my {x} profile for good?
  What do I have to do to leave {x} and erase all my data?
= I forgot my {x} password. How do I get back in? | How can I recover a lost {x} password?
  What should I do if I cannot remember my password for {x}?
= How do I know if my {x} account has been hacked?
  What are the signs that someone else is using my {x} account?
  How can I tell whether a stranger has broken into my {x} account?
= How do I change my email address on {x}? | Where can I update the email for my {x} account?
  I have a new email address. How do I tell {x}?
= How does {x} make money? | What is the business model of {x}?
  Where does the revenue of {x} come from?
~ How do I delete my {x} account? | How do I deactivate my {x} account for a while?

Jane Austen | Leo Tolstoy | Franz Kafka | Virginia Woolf | Charles Dickens | Toni Morrison
  Agatha Christie | Victor Hugo
= Which book by {x} should I read first? | Where should I start with the works of {x}?
  What is a good introduction to {x} for a new reader?
= What is {x} best known for? | Why is {x} famous? | What made {x} such a celebrated writer?
= How did {x} die? | What was the cause of the death of {x}? | What did {x} die of?
= Which writers had an influence on {x}? | Who inspired {x} as an author?
  From whom did {x} learn to write?
= Which films are based on books by {x}? | What film adaptations of {x} exist?
  Have any books by {x} been turned into movies?
~ Which book by {x} should I read first? | What is the best book by {x}?

electric car | diesel car | hybrid car | motorcycle | camper van | minivan | sports car | pickup
= How much does it cost to insure a~ {x}? | What is the average price of insurance for a~ {x}?
  What should I expect to pay each year for cover on a~ {x}?
= How often does a~ {x} need a service? | What is the service interval of a~ {x}?
  After how many kilometres does a~ {x} have to go to the garage for a check?
= Should I buy or lease a~ {x}? | Is leasing a~ {x} better than buying one?
  What makes more sense for a~ {x}, a lease or a purchase?
= What should I check before buying a used {x}? | How do I inspect a second-hand {x}?
  What do I look at when a~ {x} from a previous owner is offered for sale?
~ How much does it cost to insure a~ {x}? | How much does it cost to run a~ {x}?

toddler | three-year-old | six-year-old | eight-year-old | ten-year-old | teenager
= How many hours should a~ {x} sleep? | How much sleep does a~ {x} need?
  What is a healthy amount of rest at night for a~ {x}?
= How do I get my {x} to eat vegetables? | What can I do when my {x} refuses vegetables?
  How can I make greens more appealing to a~ {x}?
= How much screen time is right for a~ {x}? | How long may a~ {x} spend in front of a screen?
  What limit should I set on television and tablets for my {x}?
= What is a good birthday present for a~ {x}? | What should I give a~ {x} for a birthday?
  Which gifts make a~ {x} happy on the big day?
~ How many hours should a~ {x} sleep? | What time should a~ {x} go to bed?

bakery | bookshop | coffee shop | food truck | flower shop | brewery | toy shop | ice cream parlour
= How much money do I need to open a~ {x}? | What does it cost to start a~ {x}?
  What is the minimum capital for setting up a~ {x}?
= Which licences are required to run a~ {x}? | What permits do I need for a~ {x}?
  What paperwork must I complete before a~ {x} can open legally?
= How profitable is a small {x}? | How much can the owner of a~ {x} expect to earn?
  Is there good money to be made with a~ {x}?
= How can I attract more customers to my {x}? | What is the best way to advertise a~ {x}?
  How do I get more people through the door of my {x}?
~ How much money do I need to open a~ {x}? | How do I open a~ {x}?

bathroom | kitchen | cellar | bedroom | garage | attic
= How do I get rid of mould in my {x}? | What kills mould on the walls of a~ {x}?
  How can I remove the black spots that are growing in my damp {x}?
= How much does it cost to renovate a~ {x}? | What is a realistic budget for a new {x}?
  What would I have to pay to get my {x} redone?
= How can I keep my {x} warm in winter? | My {x} is freezing in January. How can I heat it?
  How do I stop my {x} from getting cold in the winter months?
= Why does my {x} smell bad? | What could cause an unpleasant smell in the {x}?
  Where does the nasty odour in my {x} come from?
~ How do I get rid of mould in my {x}? | How do I stop mould from coming back in my {x}?

chess | cricket | baseball | rugby | tennis | golf | snooker | hockey
= What are the basic rules of {x}? | How is {x} played?
  Can someone explain to a beginner how {x} works?
= Who is the greatest {x} player of all time? | Who do you think was the best {x} player ever?
  Which {x} player would you call the greatest in history?
= Where was {x} invented? | In which country did {x} originate? | What is the birthplace of {x}?
= Why is {x} so popular? | What makes so many people love {x}?
  What explains the appeal of {x} to millions of fans?
= How do I become a professional {x} player? | What does it take to play {x} for a living?
  How good must I be to earn my money as a~ {x} player?
~ Who is the greatest {x} player of all time? | Who is the best {x} player right now?
"""

PREFACES = (
    "I am new to this topic.",
    "My friends keep giving me different answers.",
    "I have searched for hours without finding a clear answer.",
    "Please forgive me if this has been asked before.",
    "This may sound like a strange thing to ask, but I am curious.",
    "I have read several articles about this, and they all contradict each other.",
    "My sister and I had a long argument about this last night.",
    "Everyone in my family has an opinion about this, so I would like to hear from other people.",
    "I would be glad of an answer from somebody with real experience rather than a quick guess.",
)
