"""The commands of the command line, a room for each kind."""
