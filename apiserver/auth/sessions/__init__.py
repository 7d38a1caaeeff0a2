"""Who has logged in: passwords, sessions, the tokens that prove them, and the end of them."""
