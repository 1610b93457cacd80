"""The HTTP service: `router.service.app.create_app(settings, engine, router)`."""
