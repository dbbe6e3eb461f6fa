"""One module a page: `layout()` is its skeleton, the other functions turn frames into its pieces."""
