"""Asks a server of the Open Inference Protocol with Triton's own client, which nobody here wrote: `peer.py HOST:PORT`.

Reads questions from standard input, one JSON object of context and mask a line, and prints one JSON object a line: what
came back as binary tensors and as JSON, and what the server said of itself.
"""

import json
import sys

import numpy as np
import tritonclient.http as http


def ask(client, question, binary):
    inputs = []
    for name in ("context", "mask"):
        values = np.array(question[name], dtype=np.float32)
        one = http.InferInput(name, list(values.shape), "FP32")
        one.set_data_from_numpy(values, binary_data=binary)
        inputs.append(one)
    wanted = [http.InferRequestedOutput("quantiles", binary_data=binary)]
    result = client.infer("nano", inputs, outputs=wanted, request_id="q1")
    answer = result.get_response()
    assert answer["id"] == "q1" and answer["model_name"] == "nano", answer
    return result.as_numpy("quantiles").tolist()


def refusal(client, name, shape):
    one = http.InferInput(name, shape, "FP32")
    one.set_data_from_numpy(np.zeros(shape, np.float32))
    try:
        client.infer("nano", [one])
    except http.InferenceServerException as error:
        return [str(error.status()), error.message()]
    return None


def main(address):
    client = http.InferenceServerClient(address)
    said = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "modelReady": client.is_model_ready("nano"),
        "versionReady": client.is_model_ready("nano", "2.0.0"),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata("nano"),
        "refused": [refusal(client, "context", [1, 512]), refusal(client, "context", [1, 500])],
    }
    print(json.dumps(said), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        answers = {"binary": ask(client, question, True), "json": ask(client, question, False)}
        print(json.dumps(answers), flush=True)


main(sys.argv[1])
