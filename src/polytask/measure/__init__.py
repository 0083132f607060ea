"""Looking at results: evaluation, analysis, reports, studies. Does not import learning or shipping."""
