"""The stream's own arithmetic: bars put in order, the market's move, the judgement. Pure."""
