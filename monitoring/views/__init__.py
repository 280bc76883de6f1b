"""The pages for staff, and what machines ask; each subject has its own module."""
