"""The index of words behind the search: not a model's, and different in each database."""

from django.db import migrations

from chat import search_index


def install(apps, schema_editor):
    search_index.install(schema_editor.connection)


def remove(apps, schema_editor):
    search_index.remove(schema_editor.connection)


class Migration(migrations.Migration):
    dependencies = [("chat", "0003_page")]

    operations = [migrations.RunPython(install, remove)]
