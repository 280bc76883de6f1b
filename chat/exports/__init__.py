"""What leaves the site as a file: one conversation as Markdown, plain text or JSON, and everything of a person."""
