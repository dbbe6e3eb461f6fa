"""What the notebooks ask: frames of the store in, frames and figures out; a module a question, no Dash."""
