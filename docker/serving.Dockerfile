# TensorFlow Serving with an exported model in the image.
# Not tried yet: no builder was at hand.
#
#   keras-dpn export --model runs/mine --out saved_models/street
#   docker build -f docker/serving.Dockerfile --build-arg MODEL=street -t street-serving .
#   docker run --rm -p 8500:8500 -p 8501:8501 street-serving
#
# MODEL is a directory of saved_models/; scenes, the demo model, comes with the repository. Exports
# were served with this release; others were not tried.
ARG SERVING=2.20.0
FROM tensorflow/serving:${SERVING}

ARG MODEL=scenes
COPY saved_models/${MODEL} /models/${MODEL}
ENV MODEL_NAME=${MODEL}
# gRPC and REST, as the base image exposes them.
EXPOSE 8500 8501
