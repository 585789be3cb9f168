"""Networks that no one would draw by hand, from a kind and a seed: operators, short chains, and whole networks."""
