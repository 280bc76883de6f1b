"""Alerts: rules over what is measured, with two levels each so that nothing flaps, and messages to whoever is named.

`measures` says how things are, `kinds` which rules there are, `hysteresis` what follows, `rounds` writes it down,
`outbox` sends it.
"""
