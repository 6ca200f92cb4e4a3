"""One module a resource; each exports `router`. A route checks, asks the engine or `ops.change`, and answers."""
