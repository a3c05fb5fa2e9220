"""The dashboard: pages for people, beside the API and made of the same views.

Each page is a template and a function that reads what it shows. They work without JavaScript.
"""
