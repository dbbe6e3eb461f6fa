"""The pages: overview, sources, reports, intake. Nothing is built before `app.create_app` is called."""
