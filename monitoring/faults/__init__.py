"""The fault test's parts: what can go wrong (`rows`), what must follow (`story`) and what it may cost (`money`).

`stand` starts a site and a simulator, `database` is what that site has stored, `asking` is who chats with it, `killing`
takes its server away, `trial` goes through the phases in a process of its own (`run`), `report` says what came of it.
"""
