"""The site's settings in the admin."""

import pytest
from django.contrib.auth.models import User
from django.urls import reverse

from chat.models import SiteSettings

pytestmark = pytest.mark.django_db
PAGE = "/admin/chat/sitesettings/"


@pytest.fixture
def admin_user():
    # Without a password, whose hash is slow on purpose.
    return User.objects.create_user("ada", is_staff=True, is_superuser=True)


def test_the_one_row_is_made_on_the_first_visit_and_changed_on_its_own_page(admin_client):
    for _ in range(2):
        change = admin_client.get(PAGE)["Location"]
    assert change == reverse("admin:chat_sitesettings_change", args=[SiteSettings.objects.get().pk])
    admin_client.post(change, {"failover": "off", "continue_prompt": "Go on."})
    assert SiteSettings.objects.get().failover == "off"


def test_there_is_no_second_row_and_no_end_of_the_first(admin_client):
    admin_client.get(PAGE)
    assert admin_client.get(reverse("admin:chat_sitesettings_add")).status_code == 403
    assert admin_client.post(reverse("admin:chat_sitesettings_delete", args=[1]), {"post": "yes"}).status_code == 403
    assert SiteSettings.objects.count() == 1


def test_staff_without_permission_make_no_row(client):
    client.force_login(User.objects.create_user("stella", is_staff=True))
    assert client.get(PAGE).status_code == 403
    assert not SiteSettings.objects.exists()
