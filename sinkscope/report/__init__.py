"""From a run to what people read: figures and a PDF (`render`), a summary for the terminal (`terminal`).

Reads tables only, never models: a report can be made on a machine without torch.

    from sinkscope.report.render import render

    render(sinkscope.read_run(Path("runs/demo")), Path("somewhere"))
"""
