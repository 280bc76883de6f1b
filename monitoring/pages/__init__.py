"""What the staff's pages show: `facts` reads, pure functions put it into words, templates write these down."""
