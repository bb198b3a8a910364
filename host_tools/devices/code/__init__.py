"""The agent's code, made smaller for devices."""
