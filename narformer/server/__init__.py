"""One place to ask: predictions over HTTP, and a page to look at them (`narformer serve`, extra `[serve]`)."""
