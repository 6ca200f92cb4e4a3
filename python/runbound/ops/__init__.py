"""Operations: what keeps the process alive and changes it while it runs.

`service` is the life cycle, `change` the one write path, `notify` speaks to systemd, `privileges` and `pidfile` do what
their names say, `logging` carries the control plane's lines, `quickstart` is `runbound run --quickstart`. The package
must stay light to import: it stands on the way to the first answer.
"""
