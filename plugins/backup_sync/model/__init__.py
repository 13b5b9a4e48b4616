"""Plain data and pure rules: what everything else is made of."""
