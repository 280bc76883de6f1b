"""What an attacker would try, and what honest people say, for proving both from outside."""
