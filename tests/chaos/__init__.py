"""The chaos run: a queue at work while everything around it breaks, judged by outside records.

    make chaos

Its parts, in the order of a run: `databases` has what is worked on and a witness inside it,
`proxy` the network between, `producer` enqueues, `workers` perform the jobs of `app`, `faults`
break things, `operations` does what operators do. All of them write down what they did (`journal`);
`judging` reads that when all is over, and `report` says what came of it.
"""
