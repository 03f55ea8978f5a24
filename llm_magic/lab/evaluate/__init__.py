"""How good the routing is, measured on recorded outcomes, and where its weights come from.

`data` reads prompts and outcomes, `metrics` are the figures, `routers` what ours is compared with, `several` the choice
among many models and `cascading` asking cheap ones first, `report` puts it together for `llm-magic eval`; `train` is
`llm-magic train`, `figures` and `ablation` what it measures with `--figures`.
"""
