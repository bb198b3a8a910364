"""How the whole province is now, for the command and the pages alike."""
