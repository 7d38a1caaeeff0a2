"""Where pods go: queue, filter, score, assume, bind.

`facts` is the vocabulary of a decision, `filters` and `scores` say what is allowed and what is better, `snapshot` holds
the cluster as numbers and answers fast, `queue` says whose turn it is. All of these are pure; `controller` acts.
"""
