"""A cheating coordinator against the secure sum: this project's, and Flower's SecAgg+ beside it."""
