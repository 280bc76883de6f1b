"""The load test's parts: who asks what (`workload`), of a site (`sockets`) or of bare aichat (`bare`), and `figures`.

`stand` starts a site of its own, `machine` reads processor time and memory, `ledger` is the provider's side of it,
`measure` runs one after the other, `report` says it in a table.
"""
