"""The subjects of the sentence pairs: scenes that a camera sees, news, sport and advice.

SCENES: in a topic the first line says who may act, the second where; every further line is an
action with its wordings, `third person / participle` or, after `<`, a passive that ends in "by".
REPORTS: in a topic every line is an event with its wordings. FILLINGS says what a slot may hold.
In both, an indented line continues the one above.
"""

AGENTS = {
    "people": {
        "man": ("a man", "a man", "a gentleman"),
        "woman": ("a woman", "a woman", "a lady"),
        "old man": ("an old man", "an elderly man"),
        "boy": ("a boy", "a young boy", "a little boy"),
        "girl": ("a girl", "a young girl", "a little girl"),
        "soldier": ("a soldier", "a man in uniform"),
        "two men": ("two men", "two men", "a couple of men"),
        "two women": ("two women", "two women", "a couple of women"),
        "three boys": ("three boys", "three young boys"),
        "some children": ("some children", "a few children", "several kids"),
    },
    "animals": {
        "dog": ("a dog", "a dog", "a hound"),
        "puppy": ("a puppy", "a small dog", "a young dog"),
        "cat": ("a cat", "a cat", "a house cat"),
        "two dogs": ("two dogs", "a couple of dogs"),
        "three kittens": ("three kittens", "three small cats", "three young cats"),
    },
}
ALIKE = (
    {"man", "old man", "soldier"},
    {"man", "two men"},
    {"woman", "two women"},
    {"boy", "three boys"},
    {"three boys", "some children"},
    {"dog", "puppy"},
    {"dog", "two dogs"},
    {"cat", "three kittens"},
)
PLURAL = ("two men", "two women", "three boys", "some children", "two dogs", "three kittens")

SCENES = """
people
on a stage | in the street | in a garden | at a party
= plays / playing a~ {c} guitar | strums / strumming a~ {c} guitar
  < a~ {c} guitar is being played by
= plays / playing a~ {c} piano | performs / performing on a~ {c} piano
  < a~ {c} piano is being played by
= sings / singing into a~ {c} microphone | performs / performing a song with a~ {c} microphone
= beats / beating a~ {c} drum | hits / hitting a~ {c} drum with a stick
  < a~ {c} drum is being beaten by
= blows / blowing up {k} balloons | inflates / inflating {k} balloons
  < {k} balloons are being blown up by
= dances / dancing in {c} clothes | moves / moving to the music in {c} clothes

people
in a kitchen | in a restaurant | at a campsite | in a school
= slices / slicing {k} onions | cuts / cutting up {k} onions
  < {k} onions are being sliced by | < {k} onions are being cut up by
= peels / peeling {k} potatoes | takes / taking the skin off {k} potatoes
  < {k} potatoes are being peeled by
= stirs / stirring soup in a~ {c} pot | mixes / mixing soup in a~ {c} pot
  < soup in a~ {c} pot is being stirred by
= fries / frying {k} eggs | cooks / cooking {k} eggs in a frying pan
  < {k} eggs are being fried by
= washes / washing a~ {c} bowl | cleans / cleaning a~ {c} bowl
  < a~ {c} bowl is being washed by
= pours / pouring milk into a~ {c} cup | fills / filling a~ {c} cup with milk
  < a~ {c} cup is being filled with milk by
= grates / grating cheese over a~ {c} plate | shreds / shredding cheese over a~ {c} plate

people
along the beach | through the park | across a field | along a country road
= rides / riding a~ {h} horse | travels / travelling on the back of a~ {h} horse
  < a~ {h} horse is being ridden by
= pushes / pushing a~ {c} cart | moves / moving a~ {c} cart by hand
  < a~ {c} cart is being pushed by
= carries / carrying {k} boxes | walks / walking with {k} boxes in hand
  < {k} boxes are being carried by
= leads / leading {k} goats | walks / walking in front of {k} goats
= runs / running after a~ {c} bus | chases / chasing a~ {c} bus
  < a~ {c} bus is being chased by
= pulls / pulling a~ {c} wagon | drags / dragging a~ {c} wagon
  < a~ {c} wagon is being pulled by

people
in the park | on the beach | in a gym | in front of a school
= kicks / kicking a~ {c} ball | strikes / striking a~ {c} ball with one foot
  < a~ {c} ball is being kicked by
= throws / throwing a~ {c} frisbee | tosses / tossing a~ {c} frisbee
  < a~ {c} frisbee is being thrown by
= jumps / jumping over a~ {c} rope | leaps / leaping over a~ {c} rope
= juggles / juggling {k} balls | keeps / keeping {k} balls in the air
  < {k} balls are being juggled by
= runs / running in {c} shoes | jogs / jogging in {c} shoes
= hangs / hanging from a~ {c} bar | swings / swinging from a~ {c} bar

people
on a lake | near the harbour | on a wide river | in a quiet bay
= paddles / paddling a~ {c} canoe | propels / propelling a~ {c} canoe with a paddle
  < a~ {c} canoe is being paddled by
= dives / diving from a~ {c} boat | jumps / jumping into the water from a~ {c} boat
= catches / catching {k} fish | pulls / pulling {k} fish out of the water
  < {k} fish are being caught by
= repairs / repairing a~ {c} boat | fixes / fixing a~ {c} boat
  < a~ {c} boat is being repaired by | < a~ {c} boat is being fixed by
= waves / waving a~ {c} flag | swings / swinging a~ {c} flag from side to side
  < a~ {c} flag is being waved by
= feeds / feeding {k} ducks | throws / throwing bread to {k} ducks
  < {k} ducks are being fed by

people
in a garage | in a living room | in front of a house | in a classroom
= paints / painting a~ {c} chair | puts / putting fresh paint on a~ {c} chair
= sews / sewing a~ {c} dress | stitches / stitching a~ {c} dress
  < a~ {c} dress is being sewn by
= folds / folding {k} shirts | puts / putting {k} folded shirts in a pile
  < {k} shirts are being folded by
= reads / reading a~ {c} book | looks / looking at the pages of a~ {c} book
  < a~ {c} book is being read by
= wraps / wrapping {k} presents | puts / putting paper around {k} presents
  < {k} presents are being wrapped by
= types / typing on a~ {c} laptop | writes / writing something on a~ {c} laptop

animals
in the snow | on the grass | in a yard | on a porch
= chases / chasing a~ {c} ball | runs / running after a~ {c} ball
  < a~ {c} ball is being chased by
= sleeps / sleeping on a~ {c} blanket | lies / lying asleep on a~ {c} blanket
= drinks / drinking from a~ {c} bowl | laps / lapping water from a~ {c} bowl
= jumps / jumping over a~ {c} box | leaps / leaping over a~ {c} box
= watches / watching {k} birds | looks / looking at {k} birds
  < {k} birds are being watched by
= plays / playing with a~ {c} toy | tosses / tossing a~ {c} toy about
"""

REPORTS = """
= bus crash in {p} kills {n} | {n} killed in {p} bus crash | {n} people die as bus overturns in {p}
= ferry sinks off {p}, {n} missing | {n} missing after ferry goes down near the coast of {p}
= earthquake in {p} leaves {n} dead | {n} die as quake strikes {p} | quake in {p} kills {n} people
= factory fire in {p} injures {n} workers | {n} workers hurt in {p} factory blaze
= mine collapse in {p} traps {n} miners | {n} miners stuck underground after collapse in {p}
= floods force {n},000 from homes in {p} | rising water in {p} drives {n},000 people from homes
= police in {p} arrest {n} over bank fraud | {n} held in {p} on suspicion of bank fraud

= president of {p} resigns after {k} years | {p}'s head of state steps down after {k} years in power
= {p} to hold elections in {m} | voters in {p} will go to the polls in {m}
= {p} expels {n} diplomats | {n} foreign envoys are told to leave {p}
= parliament in {p} rejects tax plan in {m} vote | {p}'s lawmakers vote down new tax in {m}
= Canada and {p} sign trade deal in {m} | trade pact between Canada and {p} is signed in {m}
= thousands protest over fuel prices in {p} | crowds in {p} march against the cost of fuel
= teachers in {p} strike for {k} days | schools in {p} closed by {k}-day teachers' strike

= shares of {f} rose {k} percent on {d}. | on {d}, the price of {f} stock went up by {k} percent.
= {f} will cut {n}00 jobs by {m}. | {f} said that it would lay off {n}00 employees by {m}.
  by {m}, {n}00 people who work for {f} will have to look for another job.
= {f} named a new chief executive on {d}. | a new head was appointed at {f} on {d}.
= {f} reported a quarterly loss of ${n} million. | in the last quarter, {f} lost ${n} million.
  the latest three months have left {f} with a loss of ${n} million, the company reported.
= {f} will open {n} new shops in {p}. | {f} is to expand in {p}, where {n} new shops are planned.
= {f} has agreed to buy a rival in {p} for ${n} million, the two companies said on {d}.
  on {d}, {f} and a competitor in {p} announced a takeover worth ${n} million.

= the national museum of {p} will reopen in {m} after {k} months of repairs.
  after {k} months of renovation, the national museum of {p} opens its doors again in {m}.
= scientists have found {n} new species of beetle in the forests of {p}.
  {n} kinds of beetle that were unknown to science have been discovered in forests in {p}.
= archaeologists in {p} have uncovered {n} ancient graves.
  {n} tombs from ancient times have been dug up by archaeologists in {p}.
= a painting that was stolen {n} years ago has turned up in {p}.
  police in {p} have recovered a work of art that thieves took {n} years ago.
= a satellite that was built in {p} was launched on {d}.
  on {d}, a rocket carried a satellite made in {p} into space.
= the oldest bridge in {p} will be closed for {k} weeks from {m}.
  from {m}, nobody will be able to cross the oldest bridge in {p} for {k} weeks.

= {p} beat Denmark {s} in the opening match. | Denmark lost their first match {s} to {p}.
  a {s} win over Denmark gave {p} a good start to the tournament.
= {p} goalkeeper banned for {k} matches | goalkeeper of {p} is suspended for {k} games
= a runner from {p} won the city marathon on {d}.
  on {d}, an athlete from {p} came first in the local marathon.
= {p} will host the world championship in {y}. | the {y} world championship will be held in {p}.
= the captain of {p} will miss {k} games because of a knee injury.
  a hurt knee will keep the captain of {p} out of the team for {k} games.
= {p} have signed a new coach who will start work in {m}.
  in {m}, the national team of {p} will get a new trainer.

= you can keep {e} in the fridge for {k} days. | {e} stays good for {k} days in the refrigerator.
= bake {e} for {n} minutes in a hot oven. | {e} needs {n} minutes in the oven at a high heat.
= do not put {e} in the freezer for more than {k} weeks.
  frozen {e} should be eaten within {k} weeks.
= let {e} cool for {n} minutes before you serve it. | wait {n} minutes before you put {e} on the table.
= a portion of {e} costs about {k} dollars. | you pay roughly {k} dollars for a plate of {e}.
= I would add {k} cloves of garlic to {e}. | in my opinion {e} needs {k} cloves of garlic.
"""

FILLINGS = {
    "c": "red | blue | green | yellow | white | black | orange | purple",
    "h": "brown | white | black | grey",
    "k": "three | four | five | six | seven | eight",
    "n": "11 | 12 | 14 | 15 | 16 | 18 | 19 | 21 | 23 | 26 | 27 | 32 | 34 | 38 | 41 | 45",
    "p": "Peru | Kenya | Chile | Turkey | Vietnam | Morocco | Greece | Pakistan | Norway | Ghana"
    " | Ecuador | Portugal | Iceland | Ireland",
    "f": "Norvik Bank | Halden Motors | Apex Steel | Lumen Airlines | Corvex | Baltic Foods"
    " | Orion Energy | Delmar Telecom",
    "d": "Monday | Tuesday | Wednesday | Thursday | Friday",
    "m": "January | March | April | June | September | October | November",
    "s": "1-0 | 2-0 | 2-1 | 3-0 | 3-1 | 4-2",
    "y": "2027 | 2028 | 2029 | 2030 | 2031",
    "e": "lasagne | garlic bread | fish pie | meatloaf | potato gratin | moussaka"
    " | shepherd's pie | macaroni cheese",
}
