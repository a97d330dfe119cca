import os

from flask import Flask, jsonify, render_template_string, request
from greeting import greet

app = Flask(__name__)
visits = 0


@app.get("/")
def index():
    global visits
    visits += 1
    name = request.args.get("name", "world")
    return render_template_string("<h1>{{ greeting }}</h1> {{ visits }}", greeting=greet(name), visits=visits)


@app.get("/health")
def health():
    return jsonify(user=os.getuid(), directory=os.getcwd(), unbuffered=os.environ["PYTHONUNBUFFERED"])
