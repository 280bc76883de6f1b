"""What a browser can ask for, a module for each subject. Access is decided by queries, which start from the owner."""
