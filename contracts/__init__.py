"""What others may rely on: the models of every event read and written, and the schemas made from them."""
