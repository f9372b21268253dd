"""What the daemons of a lab's machines ask of each other, through the store that they share."""
