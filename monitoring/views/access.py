"""Who may see the staff's pages; that they are staff, `admin_view` has seen."""

from __future__ import annotations

from django.contrib.auth.decorators import permission_required

may_see_servers = permission_required("monitoring.view_replicastate", raise_exception=True)
may_see_replies = permission_required("providers.view_attempt", raise_exception=True)
may_stop = permission_required("monitoring.stop_process", raise_exception=True)
