"""One module per step; awaits ports, knows no technology."""
