"""What the audit hears, and what it writes down of it: a module for each side that speaks."""
