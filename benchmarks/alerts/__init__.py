"""How well alerts find faults and how often they cry for nothing, beside the rules of other tools."""
