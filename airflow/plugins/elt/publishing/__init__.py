"""Publishing: the journal of swaps, whose turn it is, and what a cut run left."""
