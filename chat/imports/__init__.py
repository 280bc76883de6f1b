"""Conversations from elsewhere: files are read into drafts, a module for each format, and drafts are stored.

Whatever is in a file may be wrong or hostile: a conversation is stored whole or not at all, and the reason is said.
"""
