"""How the shipped model is made, and the card that describes it."""
