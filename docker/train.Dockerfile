# The command keras-dpn with TensorFlow on a CPU, or on a GPU with `--build-arg EXTRAS=train,gpu`.
# Not tried yet: no builder was at hand.
#
#   docker build -f docker/train.Dockerfile -t keras-dpn .
#   docker run --rm -v "$PWD/mydata:/data:ro" -v "$PWD/runs:/runs" keras-dpn \
#     train dpn/folder --data-dir /data --work-dir /runs/mine
#
# On a GPU add `--gpus all`.
FROM python:3.12-slim

ARG EXTRAS=train,cpu
WORKDIR /src
COPY pyproject.toml README.md LICENSE keras_dpn_cli.py ./
COPY keras_dpn keras_dpn
COPY training training
RUN pip install --no-cache-dir ".[${EXTRAS}]" && rm -rf /src/*

# Files in /runs belong to the user; --user $(id -u):$(id -g) if that isn't 1000.
RUN useradd --create-home --uid 1000 user && mkdir /runs && chown user /runs
USER user
WORKDIR /runs
ENTRYPOINT ["keras-dpn"]
CMD ["--help"]
