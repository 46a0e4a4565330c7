"""Parts of serve_clients.py: KServe's clients over REST and gRPC, imported by each part."""

import asyncio
import logging

import serving
from clients_triton import normalised, objects, same_rows, square_pixels


def rest(facts, checks):
    """kserve.InferenceRESTClient, protocols v1 and v2."""
    asyncio.run(v1(facts, checks))
    asyncio.run(v2(facts, checks))


async def fails(checks, name, status, call):
    import httpx

    try:
        found = await call
    except httpx.HTTPStatusError as error:
        wanted = status if isinstance(status, set) else {status}
        text = str(error)
        # The client shows the server's text only where it found one.
        ok = error.response.status_code in wanted and not text.startswith(",")
        expected = f"expected {wanted} with a text, found {text}"
        return checks.check(ok, name, "" if ok else expected)
    return checks.check(False, name, f"expected an error of {status}, found {found!r}")


async def v1(facts, checks):
    from kserve import InferenceRESTClient, RESTConfig

    url, name, pictures = f"http://{facts.address}", serving.NAME, facts.pictures
    async with InferenceRESTClient(RESTConfig(protocol="v1")) as client:
        checks.equal("v1 is_server_live", True, await client.is_server_live(url))
        checks.equal("v1 is_model_ready", True, await client.is_model_ready(url, name))
        asked = {"instances": [{"b64": facts.base64(picture)} for picture in pictures]}
        said = (await client.infer(url, asked, model_name=name))["predictions"]
        checks.equal("v1 predictions", len(pictures), len(said))
        for picture, one in zip(pictures, said, strict=True):
            differs = serving.same_top(picture.top, one["top"])
            checks.none(f"v1 predict of {picture.path.name}", differs)
        said = await client.explain(url, name, asked)
        checks.equal("v1 explanations", len(pictures), len(said["explanations"]))
        for picture, one in zip(pictures, said["explanations"], strict=True):
            checks.none(f"v1 explain of {picture.path.name}", serving.wrong_cam(picture, one))
        await fails(checks, "v1 no such model", 404, client.infer(url, asked, "no-such-model"))
        await fails(checks, "v1 no instances", 400, client.infer(url, {"instances": 1}, name))


async def v2(facts, checks):
    from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
    from kserve.protocol.infer_type import RequestedOutput

    url, name, pictures = f"http://{facts.address}", serving.NAME, facts.pictures
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
        checks.equal("v2 is_server_live", True, await client.is_server_live(url))
        checks.equal("v2 is_server_ready", True, await client.is_server_ready(url))
        checks.equal("v2 is_model_ready", True, await client.is_model_ready(url, name))
        found = await client.is_model_ready(url, "no-such-model")
        checks.equal("v2 is_model_ready of no model", False, found)

        async def rows(tensor, **how):
            request = InferRequest(name, [tensor], **how)
            answer = await client.infer(url, request, model_name=name)
            return answer.get_output_by_name("probabilities").as_numpy()

        image = InferInput("image", [len(pictures)], "BYTES")
        data = objects([picture.bytes for picture in pictures])
        image.set_data_from_numpy(data, binary_data=True)
        checks.none("v2 binary pictures", same_rows(pictures, await rows(image)))
        for binary in (True, False):
            found = await rows(image, parameters={"binary_data_output": binary})
            checks.none(f"v2 binary_data_output={binary}", same_rows(pictures, found))
        outputs = [RequestedOutput("probabilities", {"binary_data": True})]
        found = await rows(image, request_outputs=outputs)
        checks.none("v2 one binary output", same_rows(pictures, found))
        texts = [facts.base64(picture) for picture in pictures]
        image = InferInput("image", [len(pictures)], "BYTES", data=texts)
        checks.none("v2 base64 pictures", same_rows(pictures, await rows(image)))
        for of, kind, values in (
            ("input", "FP32", normalised(facts)),
            ("pixels", "UINT8", square_pixels(facts)),
        ):
            shape, listed = list(values.shape), values.ravel().tolist()
            tensor = InferInput(of, shape, kind, data=listed)
            checks.none(f"v2 {of} in JSON", same_rows([facts.square], await rows(tensor)))
            # Nested lists, as the standard allows.
            tensor = InferInput(of, shape, kind, data=values.tolist())
            checks.none(f"v2 {of}, nested", same_rows([facts.square], await rows(tensor)))
            tensor = InferInput(of, shape, kind)
            tensor.set_data_from_numpy(values, binary_data=True)
            checks.none(f"v2 {of} in binary", same_rows([facts.square], await rows(tensor)))
        answer = await client.infer(url, InferRequest(name, [image], "an-id"), model_name=name)
        checks.equal("v2 id", "an-id", answer.id)
        checks.equal("v2 model", name, answer.model_name)
        asked = InferRequest(name, [image])
        await fails(checks, "v2 no such model", 404, client.infer(url, asked, "no-such-model"))
        wrong = InferInput("image", [1], "BYTES", data=["not base64 at all!"])
        asked = InferRequest(name, [wrong])
        await fails(checks, "v2 no base64", 400, client.infer(url, asked, name))
        damaged = InferInput("image", [1], "BYTES")
        damaged.set_data_from_numpy(objects([facts.damaged()]), binary_data=True)
        asked = InferRequest(name, [damaged])
        await fails(checks, "v2 damaged", {415, 422}, client.infer(url, asked, name))


def grpc(facts, checks):
    """kserve.InferenceGRPCClient."""
    asyncio.run(over_grpc(facts, checks))


async def over_grpc(facts, checks):
    import grpc as transport
    from kserve import InferenceGRPCClient, InferInput, InferRequest

    logging.getLogger("kserve.trace").setLevel(logging.CRITICAL)  # refusals are expected here
    name, pictures = serving.NAME, facts.pictures
    async with InferenceGRPCClient(facts.grpc) as client:
        checks.equal("is_server_live", True, await client.is_server_live())
        checks.equal("is_server_ready", True, await client.is_server_ready())
        checks.equal("is_model_ready", True, await client.is_model_ready(name))

        async def rows(tensor):
            answer = await client.infer(InferRequest(name, [tensor], "an-id"))
            checks.equal("id", "an-id", answer.id)
            return answer.get_output_by_name("probabilities").as_numpy()

        data = [picture.bytes for picture in pictures]
        typed = InferInput("image", [len(pictures)], "BYTES", data=data)
        checks.none("typed pictures", same_rows(pictures, await rows(typed)))
        packed = InferInput("image", [len(pictures)], "BYTES", data=objects(data))
        checks.none("packed pictures", same_rows(pictures, await rows(packed)))
        for of, kind, values in (
            ("input", "FP32", normalised(facts)),
            ("pixels", "UINT8", square_pixels(facts)),
        ):
            shape = list(values.shape)
            tensor = InferInput(of, shape, kind, data=values.ravel().tolist())
            checks.none(f"typed {of}", same_rows([facts.square], await rows(tensor)))
            tensor = InferInput(of, shape, kind, data=values)
            checks.none(f"packed {of}", same_rows([facts.square], await rows(tensor)))
        for model, data, want in (
            ("no-such-model", pictures[0].bytes, "NOT_FOUND"),
            (name, facts.damaged(), "INVALID_ARGUMENT"),
        ):
            tensor = InferInput("image", [1], "BYTES", data=[data])
            try:
                found = repr(await client.infer(InferRequest(model, [tensor])))
            except transport.RpcError as error:
                found = error.code().name
            checks.equal(f"refused: {want}", want, found)
