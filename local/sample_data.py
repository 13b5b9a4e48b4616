"""Customers and orders to try things on: made up, and the same every time."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Any

FIRST = ["Ada", "Björn", "Chloé", "Dmitri", "Élise", "Fatima", "Grzegorz", "Hana", "İpek", "Jürgen", "Καίτη", "李娜"]
LAST = ["Åkesson", "Bianchi", "Çelik", "D'Amico", "Eriksen", "Fernández", "Groß", "Hernández", "Ivanova", "O'Neill"]
CITIES = [
    ("Malmö", "Skåne", "Sweden"),
    ("Torino", "Piemonte", "Italy"),
    ("İzmir", None, "Türkiye"),
    ("Kraków", None, "Poland"),
]
STATUSES = ["Active", "Inactive", "Suspended"]
ORDER_STATUSES = ["Pending", "Paid", "Shipped", "Delivered"]
PRODUCTS = ["Kettle", "Lamp", "Notebook", "Teapot", "Umbrella"]
START = datetime(2024, 1, 1)

CUSTOMER_COLUMNS = [
    "Id",
    "FirstName",
    "LastName",
    "Email",
    "PhoneCountryCode",
    "PhoneNumber",
    "Street",
    "City",
    "State",
    "Country",
    "ZipCode",
    "StatusId",
    "StatusName",
    "CreatedAt",
    "ModifiedAt",
    "Version",
]


def customer(number: int) -> list[Any]:
    """One row of customer.Customers, in the order of CUSTOMER_COLUMNS; moments as ISO text with seven digits."""
    pick = random.Random(number)
    first, last = pick.choice(FIRST), pick.choice(LAST)
    city, state, country = pick.choice(CITIES)
    status = pick.randrange(len(STATUSES))
    created = START + timedelta(minutes=number)
    return [
        number,
        first,
        last,
        f"customer{number}@example.com",
        pick.choice(["+46", "+39", None]),
        f"70{pick.randrange(10**7):07d}" if pick.random() < 0.8 else None,
        f"{pick.choice(LAST)} street {pick.randrange(1, 200)}" if pick.random() < 0.9 else None,
        city,
        state,
        country,
        f"{pick.randrange(10_000, 99_999)}" if pick.random() < 0.9 else None,
        status,
        STATUSES[status],
        f"{created:%Y-%m-%dT%H:%M:%S}.{pick.randrange(10**7):07d}",
        None,
        1,
    ]


def order(number: int, customers: int) -> dict[str, Any]:
    """One document of orders; some carry fields that no list of ours names, as documents do."""
    pick = random.Random(-number)
    items: list[dict[str, Any]] = [
        {
            "productId": f"P{pick.randrange(1000):04d}",
            "productName": pick.choice(PRODUCTS),
            "quantity": pick.randrange(1, 5),
            "unitPrice": pick.randrange(100, 9_999) / 100,
        }
        for _ in range(pick.randrange(1, 4))
    ]
    moment = START + timedelta(minutes=number)
    found: dict[str, Any] = {
        "id": f"order-{number:06d}",
        "orderId": f"ORD-{number:06d}",
        "customerId": f"customer-{number % customers + 1}",
        "status": pick.choice(ORDER_STATUSES),
        "orderDate": f"{moment:%Y-%m-%dT%H:%M:%S}Z",
        "totalAmount": round(sum(item["quantity"] * item["unitPrice"] for item in items), 2),
        "type": "Order",
        "orderItems": items,
    }
    if pick.random() < 0.7:
        found["lastModified"] = f"{moment:%Y-%m-%dT%H:%M:%S}.{pick.randrange(10**7):07d}Z"
    if pick.random() < 0.3:
        found["gift"] = {"wrapped": True, "note": "Alles Gute 🎁", "ribbon": None}
    return found
