"""What a study's model is: its size and cost by branch, and a picture."""
