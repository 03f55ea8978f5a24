"""What routing would have cost and how well it would have answered, on recorded outcomes of real models.

`table` is what was recorded, without the prompts; `build` makes it from the data; `days` plays days of requests over
it under each approach; `replay` prices the user's own ledger anew; `report` shows what came out;
`ratings` tells whether learning from ratings works.
"""
