"""How good the routing is, measured on recorded outcomes, and where its weights come from.

`data` reads prompts and outcomes, `metrics` are the figures, `rivals` the routers to compare with, `adapted` ours
after it has seen some of a source, `report` puts it together for `llm-magic eval`; `train` is `llm-magic train`.
"""
