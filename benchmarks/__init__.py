"""The budgets of the design, measured: `python -m benchmarks`, or `make bench`.

`rows` is the table of what is measured and what is allowed. A *contestant* is a module that measures some of the
rows and gives figures: `theater_rows/` holds those of Theater, `peers/` one for each other actor library.
`contestants` lists them. Each measures in a process of its own (`contestant`), which is given a deadline and
leaves nobody behind (`isolated`). Everything is measured in several rounds, so that whatever else the machine does
meets all contestants alike; the median of the rounds counts (`figures`).
`results` are written as JSON; `report` makes tables of them.

    python -m benchmarks                                everything, into latest.json and README.md
    python -m benchmarks --only request-reply --no-peers
    python -m benchmarks --quick                        whether it works, in a minute; the figures are rough
    python -m benchmarks --actors 2000 --only capacity
"""
