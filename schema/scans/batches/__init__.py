"""Scanning many tags at once: by hand, by a schedule, after a registry has been looked at."""
